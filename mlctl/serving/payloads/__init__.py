"""From the bytes of a request to checked columns or an array, or to an error that says what is wrong."""
