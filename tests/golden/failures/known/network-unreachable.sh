# label: network|connection-refused
#---
unshare -n curl -sS http://192.0.2.1/
