#!/bin/sh
# Says which guest answered: for tests of networks, load balancers and floating addresses.
printf 'Content-Type: text/plain\r\n\r\n'
echo "hostname=$(hostname) uuid=$(cat /run/instance/uuid) boots=$(cat /run/instance/boots)"
