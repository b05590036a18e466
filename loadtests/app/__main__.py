"""`python -m loadtests.app` serves a replica; `... control` turns the switches of the local one."""

import sys

from loadtests.app.control import control

if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            from loadtests.app.serving import main  # aiohttp, which the switches do without

            sys.exit(main())
        case ["control"]:
            sys.exit(control(None))
        case ["control", changes]:
            sys.exit(control(changes))
        case _:
            sys.exit("usage: python -m loadtests.app [control [JSON]]")
