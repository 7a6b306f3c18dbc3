# label: timeout
#---
timeout -v 1 sleep 9
