# label: http-not-found
#---
wget -q $REGISTRY/status/404/tool || { echo "wget: ERROR 404: Not Found."; exit 8; }
