# label: docker-daemon
#---
docker -H unix:///var/run/no-docker.sock build -t orders .
