// npm's aedes on plain TCP, with one rule for publishes and deliveries; prints its port.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const covered = (topic) => topic === 'bench' || topic.startsWith('bench/')
const broker = await Aedes.createBroker({
  concurrency: 10_000,
  queueLimit: 1_000_000,
  maxClientsIdLength: 64,
  authorizePublish: (_client, packet, done) => done(covered(packet.topic) ? null : new Error('not allowed')),
  authorizeForward: (_client, packet) => (covered(packet.topic) ? packet : null)
})
const server = createServer({ noDelay: true }, broker.handle)
server.listen(Number(process.argv[2]), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
