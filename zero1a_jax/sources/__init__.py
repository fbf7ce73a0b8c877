"""What a flag's text means: pictures, folders, heads, motions, diffusions, avatars."""
