"""What stands before a transformer: spectrograms, patches of images and sounds, windows."""
