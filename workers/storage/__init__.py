"""Folders that hold sources, cache or output: one protocol, local disk and S3 behind it.

`folder.folder_of(url)` gives the folder; `staging.Staging` keeps local copies of remote files.
Nothing of S3 is imported before a folder at `s3://` is used.
"""
