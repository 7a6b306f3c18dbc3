# label: http-not-found|package-missing|file-missing
#---
curl -fsSLO $REGISTRY/status/404/tool.tar.gz
