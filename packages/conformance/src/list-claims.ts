import { backendChapters } from './backend/suite.js'
import { describeClaims, type ClaimInfo } from './claims.js'
import { journalChapters } from './journal/chapters.js'
import { storeChapters } from './store/suite.js'
import { transportChapters } from './transport/suite.js'

/** Every claim of the kit, in reading order: by port, chapter and number. */
export function listClaims(): readonly ClaimInfo[] {
  return [
    ...describeClaims(backendChapters),
    ...describeClaims(storeChapters),
    ...describeClaims(transportChapters),
    ...describeClaims(journalChapters),
  ]
}
