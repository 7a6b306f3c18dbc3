# label: permission
printf 'x' > f; chmod 000 f; chown 0 f
#---
setpriv --reuid 65534 --regid 65534 --clear-groups cat f
