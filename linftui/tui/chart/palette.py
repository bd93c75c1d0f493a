"""The curves' colours, distinguishable for colour-blind users and on terminals with sixteen colours.

After Okabe and Ito, moved to the nearest bright members of the 256-colour cube.
"""

GREEN = "#5fd787"
BLUE = "#5fafff"
ORANGE = "#d78700"
YELLOW = "#ffd75f"
RED = "#ff5f5f"
PURPLE = "#d787ff"
GREY = "#9e9e9e"
CYAN = "#00afaf"

CERTIFIED = GREEN
CLEAN = BLUE
ATTACKED = RED
AT_P = GREY  # a figure that is not a certificate never has a certificate's colour
LOSS = ORANGE
P = PURPLE
LAM = YELLOW
LR = BLUE
THROUGHPUT = CYAN
PLANNED = GREY

# For devices, and for several runs in one chart, in this order.
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, RED, CYAN)
