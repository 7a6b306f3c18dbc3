# label: connection-refused|network
#---
kubectl --server http://127.0.0.1:9 get pods
