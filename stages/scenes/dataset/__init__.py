"""The data set: tables of clips and classes, downloads, and work on every clip in shards."""
