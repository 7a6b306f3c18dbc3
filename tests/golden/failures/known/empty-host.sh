# label: name-resolution|address-malformed
#---
curl -fsS "https://$UNSET_HOST/health"
