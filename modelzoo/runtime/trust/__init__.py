"""What is checked before a stranger's model file is opened; `docs/safety.md` says what it promises.

`check` decides; `seen` remembers what passed and what this user exported. `examine` does the rest:
`flatbuffer`, `tflite` and `saved_model` read a file without running it, and `trial` runs it once in
a child process.
"""
