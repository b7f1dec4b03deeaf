"""The page at `/`: what a server does, for people; plain files, served as they are."""
