"""The console: a web page on this machine with a stage's requests. `make run` and `assistance console` serve it."""
