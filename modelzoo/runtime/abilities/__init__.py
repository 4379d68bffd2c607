"""What a loaded bundle can do: classify, embed, caption, transcribe."""
