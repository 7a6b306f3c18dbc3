# label: timeout|command-timeout
#---
timeout 1 sleep 20
