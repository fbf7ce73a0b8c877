"""Foreign files to plain pytrees. Nothing in a file is executed; `pickles` is the one reader of pickles."""
