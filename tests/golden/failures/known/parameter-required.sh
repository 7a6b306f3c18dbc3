# label: variable-missing
whole=1
#---
: "${DEPLOY_TOKEN:?must be set by the deploy environment}"
