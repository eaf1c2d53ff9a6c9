"""`python -m wire2app`, the same as the installed script."""

from wire2app.cli import main

main()
