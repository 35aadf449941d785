"""Publishes messages with pika, as a platform in another language would.

    python3 publish.py AMQP_URL EXCHANGE < messages

Each line of standard input is a JSON object: `key` (the routing key), `body` (base64), and
optionally `headers` and `transient` (no delivery mode). Every message must be confirmed and find a
queue.
"""

import base64
import json
import sys

import pika


def main(url, exchange):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    count = 0
    for line in sys.stdin:
        message = json.loads(line)
        properties = pika.BasicProperties(headers=message.get("headers"))
        if not message.get("transient"):
            properties.delivery_mode = 2
        # Raises when the broker refuses or returns it.
        channel.basic_publish(
            exchange=exchange,
            routing_key=message["key"],
            body=base64.b64decode(message["body"]),
            properties=properties,
            mandatory=True,
        )
        count += 1
    connection.close()
    print(count)


main(*sys.argv[1:])
