"""What made the files that come with the course. README.md lists it."""
