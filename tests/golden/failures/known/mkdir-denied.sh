# label: permission
#---
setpriv --reuid 65534 --regid 65534 --clear-groups mkdir /srv/cache
