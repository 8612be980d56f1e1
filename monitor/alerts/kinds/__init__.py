"""The kinds of channel, a module each: a function that sends, and one that checks the URL and secret of a new one."""
