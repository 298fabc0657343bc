"""Lumbar MRI to masks, named levels and their sizes: one scan, and a folder of scans."""
