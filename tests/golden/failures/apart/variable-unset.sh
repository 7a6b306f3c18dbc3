# label: variable-missing
whole=yes
#---
set -u
echo "deploying to $DEPLOY_HOST"
