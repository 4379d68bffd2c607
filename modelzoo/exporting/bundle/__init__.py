"""The files of a bundle besides the model: manifest, hashes, README with examples."""
