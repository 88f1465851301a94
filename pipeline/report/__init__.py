"""One page that shows what was made: metrics, bundles and their state, in one file without network.

Every module here but `sources`, `part`, `page` and `__main__` makes one part of the page, from what
`sources` found on disk; nothing is measured here that a stage measures.
"""
