# label: docker-daemon
#---
DOCKER_HOST=tcp://127.0.0.1:9 docker push shop/orders:1
