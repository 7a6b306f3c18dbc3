# label: command-missing
#---
poetryx install --no-root
