"""HTML pages that mlctl writes."""
