# label: docker-daemon
#---
docker -H tcp://127.0.0.1:9 pull python:3.12
