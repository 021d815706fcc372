"""The other brokers beside us: Debian's nats-server and rabbitmq-server, npm's aedes, PyPI's amqtt."""
