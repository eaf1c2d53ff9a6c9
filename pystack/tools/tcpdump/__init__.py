"""`tcpdump`: packets as text, by its very words (tcpdump 4.99).

`ether.frame_text` makes the text of a frame; `command` reads the options, files and devices;
`filters` turns an expression into a test.
"""
