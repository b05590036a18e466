"""How a process knows that it replaces another one (L7, `inheritance`): by a variable that has the descriptor
of a socket. It has not the prefix of the settings, which it is none of.
"""

VARIABLE = "_BALANCER_SUCCEEDS"
