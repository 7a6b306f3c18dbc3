# label: permission
mkdir out; chown 65534 .; setpriv --reuid 65534 --regid 65534 --clear-groups true
#---
setpriv --reuid 65534 --regid 65534 --clear-groups pip install --no-deps --no-cache-dir --index-url $REGISTRY/simple --target /opt/out beta
