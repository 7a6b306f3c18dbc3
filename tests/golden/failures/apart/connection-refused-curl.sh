# label: connection-refused|network
#---
curl -fsS http://127.0.0.1:9/health
