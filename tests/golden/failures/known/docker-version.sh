# label: docker-daemon
#---
DOCKER_HOST=unix:///nowhere.sock docker ps
