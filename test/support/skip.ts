/** A test that cannot run here says why: the reason is printed with the counts. */

export { skipTest as skip } from '@orbweaver/core/testing'
