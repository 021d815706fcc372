"""Client libraries and programs that we did not write, all in one form: see `base`."""
