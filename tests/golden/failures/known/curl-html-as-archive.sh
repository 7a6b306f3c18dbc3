# label: archive-damaged
#---
curl -sSL $REGISTRY/status/404/tool.tgz -o tool.tgz
tar -xzf tool.tgz
