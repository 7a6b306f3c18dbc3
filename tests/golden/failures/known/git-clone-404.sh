# label: git-missing|git-auth
#---
git clone $REGISTRY/status/404/shop/gone.git
