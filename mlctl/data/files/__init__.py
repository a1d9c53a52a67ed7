"""Folders of images and texts as data sets."""
