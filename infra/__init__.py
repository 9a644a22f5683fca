"""The AWS infrastructure, one file for each runtime folder."""
