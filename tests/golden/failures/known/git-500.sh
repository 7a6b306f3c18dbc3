# label: server-error
#---
git clone $REGISTRY/status/500/shop/a.git
