import type { Logger, LogLevel, Notification, Notifier } from '../ports/services.js'

export interface LogLine {
  readonly level: LogLevel
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Keeps every line, for tests that ask what was said. */
export class RecordingLogger implements Logger {
  readonly lines: LogLine[] = []

  log(level: LogLevel, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ level, message, fields })
  }

  /** Lines of one level. */
  of(level: LogLevel): readonly LogLine[] {
    return this.lines.filter((line) => line.level === level)
  }
}

/** Keeps every notification; fails on demand, which must never stop the work. */
export class RecordingNotifier implements Notifier {
  readonly notifications: Notification[] = []
  /** Thrown by every call while set; the notification is not kept. */
  failWith: Error | undefined

  async notify(notification: Notification): Promise<void> {
    if (this.failWith !== undefined) throw this.failWith
    this.notifications.push(notification)
  }

  /** Notifications of one kind. */
  of<K extends Notification['kind']>(kind: K): readonly Extract<Notification, { kind: K }>[] {
    return this.notifications.filter(
      (notification): notification is Extract<Notification, { kind: K }> => notification.kind === kind,
    )
  }
}
