"""Files that may be damaged or hostile: reading, checking, and where to write."""
